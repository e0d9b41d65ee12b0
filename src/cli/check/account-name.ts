/** The account as which Exim runs exim-pipe and systemd runs drain. */
export const accountName = 'appengine-mailer';
