// Decimal arithmetic of the tests' own, exact: a decimal is [units, scale], the BigInt `units` over ten to the `scale`.

/** Of decimal digits, as JSON writes a number. */
export function decimal(text) {
  const found = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (!found) throw new Error(`no decimal: ${text}`);
  const [, sign, whole, fraction = '', exponent = '0'] = found;
  const units = BigInt(`${sign}${whole}${fraction}`);
  const scale = fraction.length - Number(exponent);
  return scale < 0 ? [units * 10n ** BigInt(-scale), 0] : [units, scale];
}

const scaledTo = ([units, scale], wanted) => units * 10n ** BigInt(wanted - scale);

const onOneScale = (decimals) => {
  const scale = Math.max(0, ...decimals.map(([, scale]) => scale));
  return [decimals.map((one) => scaledTo(one, scale)), scale];
};

/** The shortest digits that are this decimal. */
function digits([units, scale]) {
  const sign = units < 0n ? '-' : '';
  const text = String(units < 0n ? -units : units).padStart(scale + 1, '0');
  const whole = text.slice(0, text.length - scale);
  const fraction = text.slice(text.length - scale).replace(/0+$/, '');
  return `${sign}${whole}${fraction ? `.${fraction}` : ''}`;
}

/** The same decimal in its shortest digits. */
export const shortest = (text) => digits(decimal(text));

export function sum(texts) {
  const [units, scale] = onOneScale(texts.map(decimal));
  return digits([units.reduce((total, one) => total + one, 0n), scale]);
}

/** The mean, which has to end within `places` decimal places. */
export function mean(texts, places = 18) {
  const [units, scale] = decimal(sum(texts));
  const enlarged = units * 10n ** BigInt(places);
  if (enlarged % BigInt(texts.length) !== 0n) throw new Error('this mean does not end');
  return digits([enlarged / BigInt(texts.length), scale + places]);
}

const byValue = (one, other) => {
  const [[a, b]] = onOneScale([decimal(one), decimal(other)]);
  return a < b ? -1 : Number(a > b);
};

export const least = (texts) => shortest(texts.toSorted(byValue)[0]);

export const greatest = (texts) => shortest(texts.toSorted(byValue).at(-1));
