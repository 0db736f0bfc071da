import { Channel, ChannelCredentials, type ChannelOptions } from "@grpc/grpc-js";
import { ClientError, createClient, Metadata, Status } from "nice-grpc";
import {
  type DeepPartial,
  type GenerateRequest,
  type GenerateResponse,
  type RuntimeServiceClient,
  RuntimeServiceDefinition,
} from "../../src/gen/kakeya/v1/runtime.ts";

/** The contract's own words, without what the SDK checks and renames. */
export interface Wire extends Disposable {
  rpc: RuntimeServiceClient;
  channel: Channel;
}

export function dial(address: string, headers: Record<string, string> = {}, options: ChannelOptions = {}): Wire {
  const channel = new Channel(address, ChannelCredentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
    ...options,
  });
  const rpc = createClient(RuntimeServiceDefinition, channel, { "*": { metadata: new Metadata(headers) } });
  return { rpc, channel, [Symbol.dispose]: () => channel.close() };
}

/** A call's outcome: "OK", or its status's name. */
export async function statusOf(call: Promise<unknown>): Promise<string> {
  return (await failureOf(call))?.status ?? "OK";
}

export async function failureOf(call: Promise<unknown>): Promise<{ status: string; details: string } | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    return { status: Status[error.code], details: error.details };
  }
}

/** Everything that a Generate says. */
export function stream(
  rpc: RuntimeServiceClient,
  request: DeepPartial<GenerateRequest>,
): Promise<NonNullable<GenerateResponse["payload"]>[]> {
  return Array.fromAsync(rpc.generate(request), ({ payload }) => {
    if (payload === undefined) throw new Error("a GenerateResponse without payload");
    return payload;
  });
}
