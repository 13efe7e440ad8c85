import { z } from 'zod';

/** A control of the page's form: `FormControl` of pipeline/options/form.ts. */
export const formControl = z.object({
  name: z.string(),
  field: z.string().describe('name of the field in a request'),
  label: z.string(),
  kind: z.enum(['integer', 'number', 'choice', 'text', 'paragraph', 'numbers', 'size', 'hidden']),
  group: z.enum(['main', 'more', 'image']),
  wide: z.boolean(),
  initial: z.union([z.string(), z.number()]).describe('first value; empty text: the default'),
  min: z.number().optional(),
  max: z.number().optional().describe('largest number, or longest text'),
  choices: z
    .array(z.object({ value: z.string(), title: z.string() }))
    .readonly()
    .optional(),
  placeholder: z.string().optional(),
  help: z.string().optional().describe('what it means'),
  pattern: z.string().optional(),
  patternError: z.string().optional().describe('what to say of a text that does not match the pattern'),
  sumsTo: z.string().optional().describe('option whose value several numbers add up to'),
  samplers: z.array(z.string()).readonly().optional().describe('samplers that take it; absent: all'),
  labels: z.array(z.string()).readonly().describe('labels in PNG files'),
  titles: z.record(z.string(), z.string()).readonly().describe('texts of values in PNG files'),
});
