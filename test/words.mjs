// Finds words and phrases that make the English of this project hard to read. Part of `npm run check`.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * Patterns, and what to write instead. An identifier or the name of an event is not matched.
 * @type {[pattern: RegExp, better: string][]}
 */
const banned = [
  [/\blest\b/i, 'so that … not'],
  [/\bmend(?:s|ed|ing)?\b/i, 'repair, correct or fix'],
  [/\bknock(?:s|ed|ing)?\b/i, 'probe or ping'],
  [/\beras?\b/i, 'time or generation'],
  [/(?<![.\w/'"`-])strangers?\b(?![.:(\w'`])/i, 'say who: a client without a key, another program'],
  [/\bof 2012\b(?! appengine)/, 'v1 client or v1 server'],
  [/\bthat (?:is|are) none\b/i, 'an invalid …, no …'],
  [/\bwhoever\b/i, 'a subject: the client, the operator, a program that'],
  [
    /(?:^|[.;:] |\* |\/\/ )Who (?:may|has|have|was|were|cannot|does|do|waits|wants)\b[^?]*$/,
    'a subject: a client that',
  ],
  [
    /(?:[.;] |\/\/ )What (?:is|are|was|has|cannot|does|needs)\b(?!.*, and what)[^.?]*\b(?:is|are|was|goes|stays|waits|fails|cannot|becomes|comes)\b/,
    'a noun as the subject',
  ],
  [/\b(?:TODO|FIXME|XXX)\b/, 'an issue'],
];

/** Not written by us, or formats that are contracts. */
const skipped =
  /^(?:LICENSE|package-lock\.json|debian\/(?:copyright|changelog|po\/)|test\/words\.mjs$)|\.(?:eml|der|pem|png|bin)$/;

const files = execFileSync('git', ['ls-files', '-z'], { encoding: 'utf8' }).split('\0');
const found = files
  .filter((file) => file !== '' && !skipped.test(file))
  .flatMap((file) =>
    textOf(file)
      .split('\n')
      .flatMap((line, at) =>
        banned
          .filter(([pattern]) => pattern.test(line))
          .map(([pattern, better]) => ({
            file,
            line: at + 1,
            word: pattern.exec(line)?.[0],
            better,
          })),
      ),
  );

for (const { file, line, word, better } of found) {
  console.error(`${file}:${line}: "${word?.trim()}": better ${better}`);
}
if (found.length > 0) process.exitCode = 1;

/**
 * A file that was removed and is not committed yet has no text.
 * @param {string} file
 */
function textOf(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    return '';
  }
}
