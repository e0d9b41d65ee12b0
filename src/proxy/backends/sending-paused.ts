/**
 * What Amazon SES and others say, by SMTP and by their API, when an account may not send. A configuration set that is
 * paused concerns the message that names it.
 */
export const sendingPaused =
  /\bsending (?:is |was |has been )?(?:paused|suspended)\b(?! for (?:the )?configuration set)/i;
