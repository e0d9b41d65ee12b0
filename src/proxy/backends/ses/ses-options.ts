import { takes } from '../../../host/option-values.ts';
import type { OptionTable, Values } from '../../../host/options.ts';
import { firstLine, readSetting, type SettingName, type Sources } from '../../../host/settings.ts';
import { misconfigured } from '../misconfigured.ts';
import { parseProviderUrl } from '../provider/provider-url.ts';
import type { AwsKeys } from './sign-aws.ts';

/** Options of the ses backend. */
export const sesOptions = {
  'ses-region': {
    value: 'REGION',
    parse: regionName,
    describe: 'AWS region of the ses backend, such as eu-west-1',
  },
  'ses-endpoint': {
    value: 'URL',
    parse: parseProviderUrl,
    otherwise: 'https://email.REGION.amazonaws.com/',
    describe: 'Endpoint of Amazon SES, such as that of a VPC',
  },
} as const satisfies OptionTable;

/** Our account at Amazon SES. */
export interface SesAccount {
  region: string;
  endpoint: URL;
  /** The keys of an IAM user; undefined: those of the role that this machine has. */
  keys: AwsKeys | undefined;
}

/** The account that options and settings describe. Throws CommandError 78 when they do not describe one. */
export function sesAccount(
  { sesRegion: region, sesEndpoint }: Values<typeof sesOptions>,
  sources: Sources,
): SesAccount {
  if (!region) {
    throw misconfigured('the ses backend needs the AWS region in which it sends: --ses-region');
  }
  const endpoint = sesEndpoint ?? new URL(`https://email.${region}.amazonaws.com/`);
  return { region, endpoint, keys: keysOf(sources) };
}

function keysOf(sources: Sources): AwsKeys | undefined {
  const read = (name: SettingName) => {
    const setting = readSetting(name, sources);
    return setting && firstLine(setting).toString();
  };
  const [keyId, secret] = [read('AWS_ACCESS_KEY_ID'), read('AWS_SECRET_ACCESS_KEY')];
  if (!keyId && !secret) return undefined;
  if (keyId && secret) return { keyId, secret, sessionToken: read('AWS_SESSION_TOKEN') };
  const [there, missing] = keyId
    ? ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']
    : ['AWS_SECRET_ACCESS_KEY', 'AWS_ACCESS_KEY_ID'];
  throw misconfigured(`there is ${there} without ${missing}: set both, or none to use a role`);
}

function regionName(text: string): string {
  if (/^[a-z0-9]+(?:-[a-z0-9]+)*$/.test(text)) return text;
  throw takes('an AWS region, such as eu-west-1,', text);
}
