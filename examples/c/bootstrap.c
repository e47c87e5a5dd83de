/* A custom runtime for AWS Lambda in plain C: it asks for an event, answers, and asks for the next one.
   Protocol: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html */
#define _GNU_SOURCE
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LARGEST (7 << 20)

static char buffer[LARGEST + 1];

/* Send one request to the Runtime API and read its answer into `buffer`; the length of the answer. */
static size_t ask(const char *request, size_t length) {
    char host[256];
    snprintf(host, sizeof host, "%s", getenv("AWS_LAMBDA_RUNTIME_API"));
    char *port = strchr(host, ':');
    if (port) *port++ = 0;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *address;
    if (getaddrinfo(host, port ? port : "80", &hints, &address)) exit(2);
    int connection = socket(address->ai_family, SOCK_STREAM, 0);
    if (connection < 0 || connect(connection, address->ai_addr, address->ai_addrlen)) exit(3);
    freeaddrinfo(address);
    for (size_t sent = 0; sent < length;) {
        ssize_t more = write(connection, request + sent, length - sent);
        if (more <= 0) exit(4);
        sent += (size_t)more;
    }
    size_t got = 0;
    for (ssize_t more; got < LARGEST && (more = read(connection, buffer + got, LARGEST - got)) > 0;) {
        got += (size_t)more;
        buffer[got] = 0;
        char *body = strstr(buffer, "\r\n\r\n"), *size = strcasestr(buffer, "\ncontent-length:");
        if (body && size && size < body && got >= (size_t)(body + 4 - buffer) + strtoul(size + 16, NULL, 10)) break;
    }
    buffer[got] = 0;
    close(connection);
    return got;
}

int main(void) {
    const char *next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: runtime\r\nConnection: close\r\n\r\n";
    for (;;) {
        ask(next, strlen(next));
        char id[64] = "";
        const char *header = strcasestr(buffer, "\nlambda-runtime-aws-request-id:");
        const char *event = strstr(buffer, "\r\n\r\n");
        if (!header || !event || sscanf(header + 31, " %63[0-9a-fA-F-]", id) != 1) return 5;
        char *answer = NULL, *request = NULL;
        int size = asprintf(&answer, "{\"language\": \"C\", \"event\": %s}", event + 4);
        int length = asprintf(&request,
                              "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: runtime\r\n"
                              "Content-Length: %d\r\nConnection: close\r\n\r\n%s",
                              id, size, answer);
        if (size < 0 || length < 0) return 6;
        ask(request, (size_t)length);
        free(answer);
        free(request);
    }
}
