import { detectExtension } from 'nodemailer/lib/mime-funcs/mime-types';
import type { MimePart } from './parse-mime.ts';

/**
 * A name for the n-th attachment that Google takes: Google derives the type from the extension, requires one, and blocks
 * some. Where the name or its extension is missing, it is derived from the type of the part.
 */
export function attachmentName({ fileName = '', type }: MimePart, n: number): string {
  const last = fileName.split(/[/\\]/).at(-1) ?? '';
  const given = last.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '_').replace(/^\s+|[\s.]+$/g, '');
  const extension = extensionOf(type);
  if (given === '') return `attachment-${n}.${extension}`;
  const name = given.startsWith('.') ? `attachment${given}` : given;
  const fits = type === 'message/rfc822' ? /\.eml$/i.test(name) : name.includes('.');
  return fits ? name : `${name}.${extension}`;
}

/** Whether Google refuses an attachment for its name. */
export function isBlocked(name: string): boolean {
  return BLOCKED.has(name.slice(name.lastIndexOf('.') + 1).toLowerCase());
}

function extensionOf(type: string): string {
  const known = detectExtension(type);
  if (/^(?:text|message)\//.test(type) && (known === 'bin' || BLOCKED.has(known))) return 'txt';
  return /^\w+$/.test(known) && !BLOCKED.has(known) ? known : 'bin';
}

/** EXTENSION_BLACKLIST of Google's mail.py, and the documentation of the Mail API. */
const BLOCKED: ReadonlySet<string> = new Set(
  (
    'ade adp bat chm cmd com cpl exe hta ins isp jse lib mde msc msp mst pif scr sct shb sys vb vbe ' +
    'vbs vxd wsc wsf wsh'
  ).split(' '),
);
