import type { TestContext } from 'node:test';
import { appengineMailer, type Ended } from './program.ts';
import { signedPost, type HttpAnswer, type SignedPost } from './signed-post.ts';

interface PostOnce {
  /** The working directory of the proxy. */
  folder: string;
  args: readonly string[];
  env?: NodeJS.ProcessEnv;
  post: SignedPost;
}

/** Starts a proxy, posts to it once it listens, and stops it. Without an answer it may have died. */
export async function postOnce(
  t: TestContext,
  { folder, args, env, post }: PostOnce,
): Promise<Ended & { answer: HttpAnswer | undefined }> {
  const program = appengineMailer(t, ['proxy', '--listen', '127.0.0.1:0', ...args], {
    cwd: folder,
    env: { GMAIL_SECRET_KEY: post.key, ...env },
  });
  const listens = await program.says(/proxy listens on (\S+),/).catch(() => undefined);
  const answer = listens && (await signedPost(listens[1] ?? '', post).catch(() => undefined));
  return { answer, ...(await program.stop()) };
}
