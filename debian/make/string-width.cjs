/**
 * How many columns of a terminal a text takes; yargs arranges --help by it, which is ASCII. The package of this name loads
 * Intl.Segmenter and Unicode's tables of emoji, with which each service would take 3 MB more of memory.
 * @param {string} text
 */
const stringWidth = (text) => text.length;

module.exports = stringWidth;
