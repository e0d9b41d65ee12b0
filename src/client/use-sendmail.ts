/** What an ordinary user can do who may neither read the key nor write to the spool. */
export const USE_SENDMAIL = 'use sendmail or mail, so that Exim puts it into the queue, or be root';
