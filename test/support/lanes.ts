/** Runs `run` for each item, `count` of them at a time. */
export async function inLanes<T>(
  items: Iterable<T>,
  count: number,
  run: (item: T, index: number) => Promise<void>,
): Promise<void> {
  const iterator = Iterator.from(items);
  let index = 0;
  const lane = async (): Promise<void> => {
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) await run(next.value, index++);
  };
  await Promise.all(Array.from({ length: count }, lane));
}
