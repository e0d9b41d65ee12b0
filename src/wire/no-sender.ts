/**
 * The envelope sender of a message that names none and asks for the default sender. It is not an address: no
 * rule allows it, so that it is replaced or refused. The null sender would not do, since everybody may use it.
 */
export const NO_SENDER = 'nobody';
