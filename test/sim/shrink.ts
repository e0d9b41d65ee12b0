import type { Story } from './story.ts';

/**
 * The smallest story that can be made of a failing one by leaving things out, as long as `fails` says that it still fails: first
 * happenings, in halves and then one by one, then messages, recipients and hosts.
 */
export async function shrink(
  story: Story,
  fails: (story: Story) => Promise<boolean>,
): Promise<Story> {
  let smallest = story;
  const attempt = async (smaller: Story): Promise<boolean> => {
    if (!(await fails(smaller))) return false;
    smallest = smaller;
    return true;
  };
  for (let size = Math.ceil(story.happenings.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < smallest.happenings.length;) {
      const happenings = smallest.happenings.toSpliced(at, size);
      if (!(await attempt({ ...smallest, happenings }))) at += size;
    }
  }
  for (const [at, happening] of smallest.happenings.entries()) {
    if (happening.kind !== 'mail') continue;
    const smaller = [
      { ...happening, messages: 1, recipients: 1 },
      { ...happening, recipients: 1 },
      { ...happening, messages: Math.ceil(happening.messages / 2) },
    ];
    for (const each of smaller) {
      if (await attempt({ ...smallest, happenings: smallest.happenings.with(at, each) })) break;
    }
  }
  for (let hosts = smallest.hosts.length - 1; hosts >= 1; hosts -= 1) {
    const named = JSON.stringify(smallest.happenings);
    if (named.includes(`host${hosts}"`) || named.includes(`"host":${hosts}`)) break;
    await attempt({ ...smallest, hosts: smallest.hosts.slice(0, hosts) });
  }
  return smallest;
}
