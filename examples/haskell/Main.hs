-- | A custom runtime for AWS Lambda in Haskell, with GHC's own packages alone: it asks for an event, answers, and asks
-- for the next one. It speaks HTTP by curl, which the runtime has.
-- Protocol: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
module Main (main) where

import Control.Monad (forever)
import Data.Char (isSpace, toLower)
import Data.List (dropWhileEnd, isPrefixOf)
import System.Environment (getEnv)
import System.Process (readProcess)

-- | The value of a header in the head of an HTTP answer.
header :: String -> String -> Maybe String
header name text =
  case [drop (length name + 1) line | line <- lines text, (name ++ ":") `isPrefixOf` map toLower line] of
    value : _ -> Just (dropWhileEnd isSpace (dropWhile isSpace value))
    [] -> Nothing

-- | Head and body of what curl prints with @--include@.
split :: String -> (String, String)
split = go []
  where
    go headReversed rest@(character : more)
      | "\r\n\r\n" `isPrefixOf` rest = (reverse headReversed, drop 4 rest)
      | otherwise = go (character : headReversed) more
    go headReversed [] = (reverse headReversed, "")

main :: IO ()
main = do
  api <- getEnv "AWS_LAMBDA_RUNTIME_API"
  let invocation = "http://" ++ api ++ "/2018-06-01/runtime/invocation/"
  forever $ do
    (headers, event) <- split <$> readProcess "curl" ["-sS", "--include", invocation ++ "next"] ""
    case header "lambda-runtime-aws-request-id" headers of
      Nothing -> fail "an invocation without an id"
      Just request -> do
        let answer = "{\"language\": \"Haskell\", \"event\": " ++ event ++ "}"
        _ <- readProcess "curl" ["-sS", "--data-binary", "@-", invocation ++ request ++ "/response"] answer
        pure ()
