"""Takes passes from its input, one line of JSON each, and answers with their times in a line.

The bodies are looked into when the clock has stopped.
"""

import hashlib
import io
import json
import sys
import threading
import time

import pydicom
import requests
from PIL import Image

ANSWER_WITHIN_SECONDS = 60
sessions = []


def parts(answer):
    boundary = answer.headers["content-type"].split("boundary=")[1].split(";")[0].strip().strip('"')
    delimiter = b"--" + boundary.encode()
    _, _, rest = answer.content.partition(delimiter)
    while not rest.startswith(b"--"):
        part, _, rest = rest.partition(b"\r\n" + delimiter)
        yield part.partition(b"\r\n\r\n")[2]


def digest(content):
    return hashlib.sha256(content).hexdigest()


def held(kind, answer):
    if kind == "datasets":
        return len(answer.json())
    if kind == "frame":
        (content,) = parts(answer)
        return digest(content)
    if kind == "picture":
        return list(Image.open(io.BytesIO(answer.content)).size)
    instances = [pydicom.dcmread(io.BytesIO(content)) for content in parts(answer)]
    by_uid = {instance.SOPInstanceUID: digest(instance.PixelData) for instance in instances}
    assert len(by_uid) == len(instances), "an instance comes twice"
    return by_uid


def run(told):
    root, steps, clients = told["root"], told["steps"], told["clients"]
    while len(sessions) < clients:
        sessions.append(requests.Session())
    queue = iter(enumerate(steps))
    lock = threading.Lock()
    start = threading.Barrier(clients)
    taken, failures, times = [None] * len(steps), [], []

    def work(session):
        try:
            start.wait()
            started = time.perf_counter()
            while True:
                with lock:
                    number, step = next(queue, (None, None))
                if step is None:
                    break
                step_started = time.perf_counter()
                answers = []
                for request in step:
                    headers = {"Accept": request["accept"], "Accept-Encoding": "identity"}
                    answer = session.get(root + request["path"], headers=headers, timeout=ANSWER_WITHIN_SECONDS)
                    answer.raise_for_status()
                    answers.append(answer)
                taken[number] = (time.perf_counter() - step_started, answers)
            times.append((started, time.perf_counter()))
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(session,)) for session in sessions[:clients]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        return {"error": failures[0]}
    for step, (_, answers) in zip(steps, taken):
        for request, answer in zip(step, answers):
            found = held(request["kind"], answer)
            if found != request["expected"]:
                return {"error": f"{request['path']} holds {str(found)[:200]}"}
    return {
        "seconds": max(end for _, end in times) - min(begin for begin, _ in times),
        "step_seconds": [seconds for seconds, _ in taken],
    }


print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
