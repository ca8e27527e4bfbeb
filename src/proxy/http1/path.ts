/**
 * The one form of a path that is both routed on and forwarded (RFC 3986 section 5.2.4): `.` and `..` segments are
 * resolved, written as `%2e` too. Everything else stays as the client wrote it, `%2F` and double slashes included:
 * applications give them a meaning.
 */
export function normalizePath(path: string): string {
  const out: string[] = [];
  const segments = path.split('/');
  segments.forEach((segment, index) => {
    if (index === 0) return;
    const last = index === segments.length - 1;
    const plain = segment.replace(/%2e/gi, '.');
    if (plain === '.') {
      if (last) out.push('');
    } else if (plain === '..') {
      out.pop();
      if (last) out.push('');
    } else {
      out.push(segment);
    }
  });
  return `/${out.join('/')}`;
}
