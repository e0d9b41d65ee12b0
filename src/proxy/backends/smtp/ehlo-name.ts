import { machineNames, nameFault } from '../../../host/machine-names.ts';

/** The name of the proxy for the relay (EHLO), and the fault of the machine's name that an administrator has to correct. */
interface EhloName {
  /** Undefined: the proxy uses its address. */
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
