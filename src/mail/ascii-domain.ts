import { idnHostname } from 'idn-hostname';

/**
 * A domain name as DNS has it, in ASCII and lower case; undefined when it is not one. Labels in ASCII may
 * have underscores, as they do in the wild; all others are what IDNA 2008 allows (RFC 5891 to 5893), after
 * the mapping of UTS #46. Each is judged by itself, and only a dot parts them.
 */
export function asciiDomain(domain: string): string | undefined {
  const labels = domain.replace(/\.$/, '').split('.').map(asciiLabel);
  if (labels.includes(undefined)) return undefined;
  return labels.join('.') + (domain.endsWith('.') ? '.' : '');
}

function asciiLabel(label: string): string | undefined {
  if (ASCII_LABEL.test(label)) return label.toLowerCase();
  try {
    const ascii = idnHostname(label);
    return ascii.includes('.') ? undefined : ascii; // U+3002 and its like part labels for it.
  } catch {
    return undefined;
  }
}

const ASCII_LABEL = /^[0-9A-Za-z_](?:[0-9A-Za-z_-]*[0-9A-Za-z_])?$/;
