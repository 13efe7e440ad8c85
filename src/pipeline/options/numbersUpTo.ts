/** A regular expression of the decimal numbers from 0 to `max`, for forms whose numbers are too large for JavaScript's own. */
export function numbersUpTo(max: bigint): string {
  const digits = String(max);
  const smaller = Array.from(digits).flatMap((digit, i) => {
    const rest = digits.length - i - 1;
    return digit === '0' ? [] : [`${digits.slice(0, i)}[0-${Number(digit) - 1}]\\d{${rest}}`];
  });
  return [`\\d{1,${digits.length - 1}}`, ...smaller, digits].join('|');
}
