/** What a page of Markdown has readers do. */

export interface Fence {
  readonly language: string;
  readonly text: string;
  /** Of its first line, from 1. */
  readonly line: number;
  /** What the comment above it says: why a test does not run it. */
  readonly notRun: string | null;
}

export function fencesOf(page: string): readonly Fence[] {
  return [...page.matchAll(/(?:^<!-- not run: (.+) -->\n)?^```(\S*)\n([\s\S]*?)^```$/gm)].map(
    ({ 0: whole, 1: notRun = null, 2: language = '', 3: text = '', index }) => ({
      language,
      text,
      line: page.slice(0, index + whole.indexOf('```')).split('\n').length + 1,
      notRun,
    }),
  );
}

/** Its commands, one a line, without what is said of them. */
export function commandsOf({ text }: Fence): readonly string[] {
  return text
    .split('\n')
    .map((line) => line.replace(/(?:^|\s+)# .*$/, '').trim())
    .filter((line) => line !== '');
}

/** Where links lead that stay in the repository. */
export function linksOf(page: string): readonly string[] {
  return [...page.matchAll(/\]\((?!\w+:)([^)\s]+)\)/g)].map(([, target = '']) => target);
}

/** What a heading is called in an address, as GitHub does it. */
export function anchorsOf(page: string): readonly string[] {
  return [...page.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
}
