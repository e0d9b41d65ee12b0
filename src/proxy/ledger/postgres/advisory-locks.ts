/** The class of our advisory locks in a database: "mail". The second number of a lock is the number of an owner. */
export const OWNERS = 0x6d_61_69_6c;

/** The number, which no owner has, of the lock under which the schema is brought up to date. */
export const MIGRATION = 0;
