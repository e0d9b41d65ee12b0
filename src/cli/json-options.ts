/** Option of commands that print one object. */
export const jsonObjectOption = { flag: true, describe: 'Print one JSON object' } as const;

/** Option of commands that print several. */
export const jsonLinesOption = {
  flag: true,
  describe: 'Print one JSON object on each line',
} as const;
