/** Elements from values. Text is set as text: nothing a log line holds becomes markup. */

export type Child = Node | string;

export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
}

export interface Column<Row> {
  readonly title: string;
  readonly number?: boolean;
  readonly cell: (row: Row) => Child;
}

export function fillTable<Row>(
  table: HTMLElement,
  caption: string,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
): void {
  const side = ({ number }: Column<Row>): Readonly<Record<string, string>> => (number ? { class: 'number' } : {});
  table.setAttribute('aria-label', caption);
  table.replaceChildren(
    element(
      'thead',
      {},
      element('tr', {}, ...columns.map((column) => element('th', { scope: 'col', ...side(column) }, column.title))),
    ),
    element(
      'tbody',
      {},
      ...rows.map((row) =>
        element('tr', {}, ...columns.map((column) => element('td', side(column), column.cell(row)))),
      ),
    ),
  );
}
