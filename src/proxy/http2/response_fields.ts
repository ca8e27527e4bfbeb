/** An answer's field lines as HTTP/2 wants them: names in lower case, one after the other with their values. */

/** Appends to `out` what `fields` says, each line with its CRLF. */
export function appendHttp2Fields(out: string[], fields: string): void {
  for (let at = 0; at < fields.length;) {
    const end = fields.indexOf('\r\n', at);
    const colon = fields.indexOf(':', at);
    // Lines are of our own writing: one blank behind the colon.
    out.push(fields.slice(at, colon).toLowerCase(), fields.slice(colon + 2, end));
    at = end + 2;
  }
}
