export const handler = async () => "good morning";
