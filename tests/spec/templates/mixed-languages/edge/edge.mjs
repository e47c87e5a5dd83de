export const handler = async () => "edge";
