/**
 * The envelope sender of a message that names none and asks for the default sender. It is no address: no
 * rule allows it, so it is replaced or refused, and it is not the null sender, which everybody may use.
 */
export const NO_SENDER = 'nobody';
