"""The next dates of the team's meetings."""

import datetime
import json
from pathlib import Path

import yaml
from dateutil.rrule import rrulestr

MEETINGS = yaml.safe_load((Path(__file__).parent / "calendars" / "team.yaml").read_text())


def dates(after):
    for name, meeting in sorted(MEETINGS.items()):
        start = datetime.datetime.combine(meeting["start"], datetime.time())
        found = rrulestr(meeting["rule"], dtstart=start).after(after)
        yield name, found.date().isoformat()


def next_dates(event, context):
    asked = (event.get("queryStringParameters") or {}).get("after", "2026-06-01")
    return {"statusCode": 200, "body": json.dumps(dict(dates(datetime.datetime.fromisoformat(asked))))}


def digest(event, context):
    for name, date in dates(datetime.datetime.fromisoformat(event["time"].removesuffix("Z"))):
        print(f"{name}: {date}")
