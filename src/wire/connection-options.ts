import type { Options } from 'yargs';

/** The options of the commands that post to a proxy; openConnection takes their values. */
export const connectionOptions = {
  'proxy-url': {
    type: 'string',
    describe: 'Where the proxy is; else GMAIL_PROXY_URL',
    requiresArg: true,
  },
  'ca-file': {
    type: 'string',
    describe: 'PEM file of further certificate authorities to trust',
    requiresArg: true,
  },
  'allow-insecure': {
    type: 'boolean',
    default: false,
    describe: 'Allow http: to other machines, where anybody on the way can read the mail',
  },
} as const satisfies Record<string, Options>;

/** The status, besides 204, by which servers of v1 say that they sent. */
export const v1SuccessOption = {
  type: 'number',
  default: 204,
  describe: 'With --wire v1: what the server answers when it has sent, besides 204',
  requiresArg: true,
} as const;

/** The option of what speaks to servers of any age. */
export const wireOption = {
  choices: ['v1', 'v2'] as const,
  default: 'v2' as const,
  describe: 'What the proxy speaks: v1 is for a server of 2012',
} as const;
