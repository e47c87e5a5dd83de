exports.handler = async () => "page";
