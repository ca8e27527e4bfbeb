/** A request as a worker gets it: made from what was parsed, changed by policies, written anew. */
export class UpstreamRequest {
  method = '';
  /** Origin-form, or `*`. */
  target = '';
  /** Value of `Host`. */
  host = '';
  /** All other field lines, each with its CRLF, without the framing. */
  fields = '';
  framing: 'none' | 'length' | 'chunked' = 'none';
  contentLength = 0;
  /** The protocol the connection is to change to; empty for all but a few. */
  upgrade = '';
  /** The client takes trailers behind the answer. */
  acceptsTrailers = false;
  /** Field lines behind the body, each with its CRLF; known when the body has ended. */
  trailers = '';

  /** Names and values in turn, for who writes the head himself. */
  fieldList(http2: boolean): string[] {
    const out = ['host', this.host];
    for (let at = 0; at < this.fields.length;) {
      const end = this.fields.indexOf('\r\n', at);
      const colon = this.fields.indexOf(':', at);
      out.push(this.fields.slice(at, colon), this.fields.slice(colon + 2, end));
      at = end + 2;
    }
    if (this.framing === 'length') out.push('content-length', String(this.contentLength));
    if (http2 && this.acceptsTrailers) out.push('te', 'trailers');
    return out;
  }

  /** Whatever the method, a body is framed: unframed bytes would be the worker's next request (RFC 9112 section 6.3). */
  serialize(): string {
    const start = `${this.method} ${this.target} HTTP/1.1\r\nHost: ${this.host}\r\n${this.fields}`;
    if (this.upgrade !== '') return `${start}Connection: Upgrade\r\nUpgrade: ${this.upgrade}\r\n\r\n`;
    if (this.framing === 'chunked') return `${start}Transfer-Encoding: chunked\r\n\r\n`;
    if (this.framing === 'length') return `${start}Content-Length: ${this.contentLength}\r\n\r\n`;
    return `${start}\r\n`;
  }
}
