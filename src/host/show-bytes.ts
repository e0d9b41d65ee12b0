/** A size for people, in the unit that tells enough: 999 bytes, 12 kB, 3.4 MB, 1.2 GB. */
export function showBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} ${bytes === 1 ? 'byte' : 'bytes'}`;
  const [unit, size] = UNITS.find(([, each]) => bytes < 999.5 * each) ?? LARGEST;
  const number = bytes / size;
  return `${number < 9.95 ? number.toFixed(1) : Math.round(number)} ${unit}`;
}

const LARGEST = ['TB', 1e12] as const;
const UNITS = [['kB', 1e3], ['MB', 1e6], ['GB', 1e9], LARGEST] as const;
