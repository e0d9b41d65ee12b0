/** The types of idn-hostname name it, and it has none. Nothing of it is used here. */
declare module 'punycode/';
