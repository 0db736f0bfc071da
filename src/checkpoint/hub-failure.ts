import { HubApiError } from "@huggingface/hub";
import { FileError } from "../files/file-error.ts";
import type { Hub } from "./hub.ts";
import { type HubModel, hubModelName } from "./hub-cache.ts";
import { ModelError } from "./model-error.ts";

/** Whether the hub may answer differently when it is asked again: it is busy, has a fault, or the connection broke. */
export function mayPass(error: unknown): boolean {
  if (!(error instanceof HubApiError)) return !(error instanceof FileError);
  return error.statusCode >= 500 || error.statusCode === 408 || error.statusCode === 429;
}

/** What a failed request means to the user. */
export function describeHubFailure(error: unknown, model: HubModel, hub: Hub): Error {
  if (error instanceof FileError) return error;
  const { problem, remedy } = error instanceof HubApiError ? refused(error, model, hub) : unanswered(error, hub);
  return new ModelError(hubModelName(model), problem, remedy, { cause: error });
}

interface Explanation {
  problem: string;
  remedy: string;
}

function refused({ statusCode, message }: HubApiError, model: HubModel, { hubUrl, accessToken }: Hub): Explanation {
  const hasToken = accessToken !== undefined;
  const terms = `accept the terms at ${hubUrl}/${model.id}`;
  const token = `a token from ${hubUrl}/settings/tokens`;
  switch (statusCode) {
    case 401:
      return hasToken
        ? { problem: "the hub does not accept HF_TOKEN (401)", remedy: `Set it to ${token}, or unset it` }
        : {
            problem: "is gated or private, or there is no such model: the hub answers only to those it knows (401)",
            remedy: `Check the name; if it is right, ${terms} and set HF_TOKEN to ${token}`,
          };
    case 403:
      return {
        problem: `is gated or private, and ${hasToken ? "HF_TOKEN gives no access to it" : "no HF_TOKEN is set"} (403)`,
        remedy: `With the account of the token, ${terms}; a fine-grained token must also allow gated models`,
      };
    case 404:
      return {
        problem: `there is no such model, or it has no revision ${model.revision} (404)`,
        remedy: `Look for it at ${hubUrl}/models`,
      };
    case 429:
      return {
        problem: "the hub has had too many requests from here (429)",
        remedy: "Wait a while; HF_TOKEN raises the limit",
      };
    default:
      return {
        problem: `the hub answered with status ${statusCode} (${message})`,
        remedy: statusCode >= 500 ? "The hub has a fault: try again later; what is here stays" : "Report it to kakeya",
      };
  }
}

function unanswered(error: unknown, { hubUrl }: Hub): Explanation {
  const why = error instanceof Error ? error.message : String(error);
  const remedy =
    "Check the network and HF_ENDPOINT, and pull again: it continues where it stopped; models that are here work offline";
  return { problem: `${hubUrl} could not be reached, or did not answer as it should (${why})`, remedy };
}
