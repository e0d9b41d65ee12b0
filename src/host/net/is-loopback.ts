/** Whether a host is this machine: localhost, or an address of it alone, in brackets or not. No name is looked up. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|(?:::ffff:)?127(?:\.\d+){3}|::1|\[::1\])$/.test(host);
}
