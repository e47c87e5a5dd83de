// When is it due? {"in": "2 days"} → {"due": "2026-11-23T10:16:36.000Z", "in": "2 days"}
import ms from "ms";

export const handler = async (event) => {
  const delay = ms(event.in ?? "1 day");
  if (delay === undefined) {
    throw new Error(`in: ${event.in} is not a length of time such as "2 days"`);
  }
  const from = event.from ? new Date(event.from) : new Date();
  return { due: new Date(from.getTime() + delay).toISOString(), in: ms(delay, { long: true }) };
};
