// A Lambda function: it greets, and says what it was compiled for.
package main

import (
	"context"
	"runtime"

	"github.com/aws/aws-lambda-go/lambda"
)

type event struct {
	Name string `json:"name"`
}

type answer struct {
	Greeting     string `json:"greeting"`
	Architecture string `json:"architecture"`
}

func greet(_ context.Context, event event) (answer, error) {
	return answer{Greeting: "Hello, " + event.Name + "!", Architecture: runtime.GOARCH}, nil
}

func main() {
	lambda.Start(greet)
}
