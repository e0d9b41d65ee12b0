/** The class of our advisory locks in a database: "mail". The second number of a lock is the number of an owner. */
export const OWNERS = 0x6d_61_69_6c;

/** The class of the locks that the other connections of an owner share, so that all its processes can be found: "work". */
export const WORKERS = 0x77_6f_72_6b;

/** The number, which no owner has, of the lock under which the schema is brought up to date. */
export const MIGRATION = 0;
