import { z } from 'zod';

/** An object whose fields beyond the known ones are in `rest`. */
export function withRest<Fields extends z.ZodRawShape>(fields: Fields) {
  return z.looseObject(fields).transform((content) => {
    // Own properties only: a client may send one named __proto__.
    const isKnown = ([name]: readonly [string, unknown]) => Object.hasOwn(fields, name);
    const entries = Object.entries(content);
    const known = Object.fromEntries(entries.filter(isKnown)) as z.output<z.ZodObject<Fields>>;
    return { ...known, rest: new Map(entries.filter((entry) => !isKnown(entry))) };
  });
}
