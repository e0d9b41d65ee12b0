import { readFileSync } from 'node:fs';
import type { Machine } from '../../../host/machine.ts';
import { isLoopback } from '../../../host/net/is-loopback.ts';
import { limits } from '../../../limits.ts';
import type { Response } from '../../../wire/exchange.ts';
import { jsonOf } from '../provider/json-of.ts';
import { ProviderClient, type ProviderCall } from '../provider/provider-client.ts';
import type { AwsKeys } from './sign-aws.ts';

/** Temporary keys of a role. */
export interface RoleKeys {
  keys: AwsKeys;
  /** How long they are valid from now on, in milliseconds. */
  lifeMs: number;
}

/**
 * The keys of the role of this machine: in a container of ECS or EKS from the agent that its environment names, and
 * elsewhere from the instance metadata service of EC2, version 2 alone. Both are asked directly, by no web proxy. Rejects
 * with an Error that has no key in it.
 */
export async function roleKeys(
  environment: NodeJS.ProcessEnv,
  machine: Machine,
): Promise<RoleKeys> {
  const container = containerUrl(environment);
  const [source, url] = container
    ? (['the container agent', container] as const)
    : (['the instance metadata service', metadataUrl(environment)] as const);
  const client = new ProviderClient(`${source} ${url.host}`, { url }, machine);
  try {
    const ask = async (call: ProviderCall) => {
      const answer = await client.call({ ...call, answerMs: limits.awsKeysMs });
      if (answer.status === 200) return answer;
      const why = call.path === ROLES && answer.status === 404 ? ': this machine has no role' : '';
      throw new Error(`${source} ${url.host} answered ${answer.status}${why}`);
    };
    const answer = container
      ? await ask({ method: 'GET', headers: containerHeaders(environment) })
      : await instanceKeys(ask);
    return readKeys(answer, source, machine);
  } finally {
    await client.close();
  }
}

type Ask = (call: ProviderCall) => Promise<Response>;

/** AWS EC2 User Guide, "Use the Instance Metadata Service to access instance metadata". */
async function instanceKeys(ask: Ask): Promise<Response> {
  const token = await ask({
    method: 'PUT',
    path: '/latest/api/token',
    headers: { 'x-aws-ec2-metadata-token-ttl-seconds': String(limits.awsTokenMs / 1000) },
  }).catch((error: Error) => {
    throw new Error(`${error.message} (a container on EC2 reaches it with a hop limit of 2 alone)`);
  });
  const headers = { 'x-aws-ec2-metadata-token': headerValue(token.body.toString()) };
  const roles = await ask({ method: 'GET', path: ROLES, headers });
  const [role = ''] = roles.body.toString().trim().split('\n');
  if (role === '') throw new Error('this machine has no role');
  return ask({ method: 'GET', path: ROLES + encodeURIComponent(role), headers });
}

const ROLES = '/latest/meta-data/iam/security-credentials/';

/** AWS SDKs and Tools Reference Guide, "Container credential provider". */
function containerUrl(environment: NodeJS.ProcessEnv): URL | undefined {
  const relative = environment['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'];
  if (relative) return new URL(relative, 'http://169.254.170.2/');
  const full = environment['AWS_CONTAINER_CREDENTIALS_FULL_URI'];
  if (!full) return undefined;
  const url = URL.parse(full);
  if (url?.protocol === 'https:') return url;
  if (url?.protocol === 'http:' && (isLoopback(url.hostname) || AGENTS.has(url.hostname)))
    return url;
  throw new Error(
    'AWS_CONTAINER_CREDENTIALS_FULL_URI is not https:, nor this machine or an agent of ECS or EKS',
  );
}

/** The addresses of the agents of ECS and EKS, which may be asked without TLS. */
const AGENTS = new Set(['169.254.170.2', '169.254.170.23', '[fd00:ec2::23]']);

function containerHeaders(environment: NodeJS.ProcessEnv): Record<string, string> {
  const file = environment['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'];
  const token = file
    ? readFileSync(file, 'utf8')
    : environment['AWS_CONTAINER_AUTHORIZATION_TOKEN'];
  return token ? { authorization: headerValue(token) } : {};
}

function metadataUrl(environment: NodeJS.ProcessEnv): URL {
  if (/^true$/i.test(environment['AWS_EC2_METADATA_DISABLED'] ?? '')) {
    throw new Error(
      'no keys are set, and AWS_EC2_METADATA_DISABLED forbids to ask for those of a role',
    );
  }
  const given = environment['AWS_EC2_METADATA_SERVICE_ENDPOINT'];
  const url = URL.parse(given || 'http://169.254.169.254/');
  if (url && /^https?:$/.test(url.protocol)) return url;
  throw new Error('AWS_EC2_METADATA_SERVICE_ENDPOINT is not an http: URL');
}

/** A text that may be the value of a header field; another would be refused with the secret in the error. */
function headerValue(text: string): string {
  const value = text.trim();
  if (/^[\x20-\x7e]*$/.test(value)) return value;
  throw new Error('the token for the keys of a role has characters that no header field can have');
}

function readKeys({ headers, body }: Response, source: string, machine: Machine): RoleKeys {
  const { Code: code, AccessKeyId, SecretAccessKey, Token, Expiration } = jsonOf(body);
  if (typeof AccessKeyId !== 'string' || typeof SecretAccessKey !== 'string') {
    throw new Error(`${source} has given no keys${typeof code === 'string' ? `: ${code}` : ''}`);
  }
  const keys: AwsKeys = { keyId: AccessKeyId, secret: SecretAccessKey };
  if (typeof Token === 'string') keys.sessionToken = Token;
  // By the clock of who gave it, where it tells the time.
  const now = Date.parse(String(headers['date'])) || machine.wallNow();
  const lifeMs = Date.parse(String(Expiration)) - now;
  return { keys, lifeMs: Number.isFinite(lifeMs) ? lifeMs : limits.awsKeysRenewMs };
}
