/**
 * Who a message is from and for, apart from its headers (RFC 5321 2.3.1).
 * Addresses are without angle brackets; the null sender is the empty string.
 */
export interface Envelope {
  sender: string;
  recipients: string[];
}
