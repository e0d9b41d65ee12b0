import type { Machine } from '../../../host/machine.ts';
import { limits } from '../../../limits.ts';
import { BackendUnavailableError } from '../backend.ts';
import { roleKeys, type RoleKeys } from './role-keys.ts';
import type { AwsKeys } from './sign-aws.ts';

/**
 * The keys with which requests are signed: those of the settings, or else temporary ones of the role of this machine
 * (roleKeys). These are renewed before they end, one renewal at a time, and used to their end when that fails.
 */
export class AwsCredentials {
  readonly #given: AwsKeys | undefined;
  readonly #machine: Machine;
  readonly #environment: NodeJS.ProcessEnv;
  #role: (RoleKeys & { renewAt: number; endsAt: number }) | undefined;
  #renewal: Promise<void> | undefined;

  constructor(
    given: AwsKeys | undefined,
    machine: Machine,
    environment: NodeJS.ProcessEnv = process.env,
  ) {
    this.#given = given;
    this.#machine = machine;
    this.#environment = environment;
  }

  /** Rejects with BackendUnavailableError when there are none. */
  async keys(): Promise<AwsKeys> {
    if (this.#given) return this.#given;
    if (!this.#role || this.#machine.now() >= this.#role.renewAt) {
      this.#renewal ??= this.#renew().finally(() => {
        this.#renewal = undefined;
      });
      await this.#renewal;
    }
    if (this.#role) return this.#role.keys;
    throw new BackendUnavailableError('there are no keys for Amazon SES', limits.providerRefusedMs);
  }

  /** Forgets keys that Amazon has refused. Returns whether there may be others. */
  forget(keys: AwsKeys): boolean {
    if (this.#role?.keys === keys) this.#role = undefined;
    return this.#given === undefined;
  }

  async #renew(): Promise<void> {
    try {
      const role = await roleKeys(this.#environment, this.#machine);
      const now = this.#machine.now();
      const renewMs = Math.max(role.lifeMs - limits.awsKeysRenewMs, limits.awsKeysRetryMs);
      this.#role = { ...role, renewAt: now + renewMs, endsAt: now + role.lifeMs };
    } catch (error) {
      const now = this.#machine.now();
      if (this.#role && now < this.#role.endsAt) {
        this.#role.renewAt = now + limits.awsKeysRetryMs;
        return;
      }
      this.#role = undefined;
      const text = `there are no keys for Amazon SES: ${(error as Error).message}; ${REMEDY}`;
      throw new BackendUnavailableError(text, limits.providerRefusedMs);
    }
  }
}

const REMEDY = 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role';
