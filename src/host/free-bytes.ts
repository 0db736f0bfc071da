/**
 * Frees the memory of bytes that nobody reads again; they are empty afterwards. The collector sees only the small objects
 * that stand for what a connection has sent, and would let hundreds of megabytes pile up before it comes by. Bytes that lie
 * in a larger buffer stay.
 */
export function freeBytes(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength) buffer.transfer(0);
}
