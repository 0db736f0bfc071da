import type { OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { Status } from "nice-grpc";

/**
 * Calls `onEnd` once, with the status that leaves on this stream, whoever sent it, or CANCELLED when the stream closes
 * without one.
 */
export function whenAnswered(stream: ServerHttp2Stream, onEnd: (code: Status) => void): void {
  let answered = false;
  const end = (code: Status) => {
    if (!answered) onEnd(code);
    answered = true;
  };
  const look = (headers: OutgoingHttpHeaders | readonly string[] | undefined) => {
    const status = headers !== undefined && "grpc-status" in headers ? headers["grpc-status"] : undefined;
    if (status !== undefined) end(Number(status));
  };
  const { respond, sendTrailers } = stream;
  stream.respond = (headers, options) => {
    look(headers);
    respond.call(stream, headers, options);
  };
  stream.sendTrailers = (trailers) => {
    look(trailers);
    sendTrailers.call(stream, trailers);
  };
  stream.once("close", () => end(Status.CANCELLED));
}
