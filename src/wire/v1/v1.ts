/** The door to HTTP v1: other folders import nothing else from here. */

// To send: one post.
export { attemptV1, SENT } from './attempt-v1.ts';

// To receive: the form of a post, its signature, and the mail in it.
export { decodeForm, FormError } from './form.ts';
export { decodeMultipart } from './multipart-form.ts';
export { InvalidMailError, readMail } from './read-mail.ts';
export { verifyV1 } from './sign-v1.ts';
