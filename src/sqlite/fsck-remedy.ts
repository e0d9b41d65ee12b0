/** What an operator does about a damaged spool. */
export const fsckRemedy =
  'systemctl stop appengine-mailer; appengine-mailer queue fsck; systemctl start appengine-mailer';
