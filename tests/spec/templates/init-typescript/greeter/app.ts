export const lambdaHandler = async (): Promise<string> => "good morning";
