import { machineNames, nameFault } from '../../../host/machine-names.ts';

/** What the proxy calls itself at the relay (EHLO), and what an administrator has to set right about it. */
interface EhloName {
  /** Undefined: by its address. */
  name: string | undefined;
  fault?: { text: string; todo: string } | undefined;
}

/** The name that --smtp-name gives, or else the fully qualified name of the machine. Never rejects. */
export async function ehloName(option: string | undefined): Promise<EhloName> {
  if (option) return { name: option };
  const names = await machineNames();
  if (names.host !== undefined) return { name: names.host };
  const { text = '', todo = '' } = nameFault(names, 'appengine-mailer-proxy') ?? {};
  return {
    name: undefined,
    fault: {
      text: `${text}, so the proxy calls itself by its address at the relay, which some relays refuse`,
      todo: `set --smtp-name (APPENGINE_MAILER_SMTP_NAME), or ${todo}`,
    },
  };
}
