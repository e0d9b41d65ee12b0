import { idnHostname, uts46map } from 'idn-hostname';

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
    // A character that is mapped to nothing cannot be seen; one that is mapped to a full stop, as U+3002 is, would make
    // two labels of one.
    const mapped = new Set(Array.from(label, (character) => uts46map(character)));
    return mapped.has('') || mapped.has('.') ? undefined : idnHostname(label);
  } catch {
    return undefined;
  }
}

const ASCII_LABEL = /^[0-9A-Za-z_](?:[0-9A-Za-z_-]*[0-9A-Za-z_])?$/;
