import type { OptionTable, Origins, Values } from './options.ts';

/** What is typed without a name, in this order. */
export interface Argument {
  describe: string;
  /** It may be left out. */
  optional?: true;
  /** Any number of them, also none; the last argument alone. */
  several?: true;
}

export type ArgumentTable = Readonly<Record<string, Argument>>;

/** The words that the arguments of a command are. */
export type Words<Table extends ArgumentTable> = {
  [Name in keyof Table & string]: Table[Name] extends { several: true }
    ? string[]
    : Table[Name] extends { optional: true }
      ? string | undefined
      : string;
};

/** A command of a program. Without `run` it only has commands below it. */
export interface Command {
  /** What is typed; a program's name for a program. */
  name: string;
  /** For --help; a command without it is hidden. */
  describe?: string;
  /** It is run where its parent has no command: `queue` is `queue list`. */
  isDefault?: boolean;
  /** It runs unseen, so that a variable with a wrong name must not be passed over. */
  isService?: boolean;
  arguments: ArgumentTable;
  /** Options that are also variables. */
  settings: OptionTable;
  /** Options of the command line alone. */
  options: OptionTable;
  commands: readonly Command[];
  run?: (values: object, origins: Origins) => Promise<void>;
}

type Described = Pick<Command, 'name' | 'describe' | 'isDefault' | 'isService'>;

// eslint-disable-next-line typescript/no-generated-empty-object-type -- what a table without entries is
type Empty = Record<never, never>;

/** Declares a command; what `run` gets has the types that the tables say. */
export function command<
  Settings extends OptionTable = Empty,
  Options extends OptionTable = Empty,
  Arguments extends ArgumentTable = Empty,
>(
  declared: Described & {
    arguments?: Arguments;
    settings?: Settings;
    options?: Options;
    commands?: readonly Command[];
    run: (
      values: Values<Settings> & Values<Options> & Words<Arguments>,
      origins: Origins,
    ) => Promise<void>;
  },
): Command {
  const { run, ...rest } = declared;
  return {
    arguments: {},
    settings: {},
    options: {},
    commands: [],
    ...rest,
    run: async (values, origins) => run(values as never, origins),
  };
}

/** Declares a command that only has others below it. */
export function commandGroup(
  declared: Described & { commands: readonly Command[]; settings?: OptionTable },
): Command {
  return { arguments: {}, settings: {}, options: {}, ...declared };
}
