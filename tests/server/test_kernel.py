"""A kernel that Jupyter started finds the server's engine without a word from the user."""

import json

CODE = """
from kalam_jupyter.client import connect
connection = connect()
connection.ksql(
    "CREATE STREAM FROM_KERNEL (A INT) WITH (KAFKA_TOPIC='k', VALUE_FORMAT='JSON', PARTITIONS=1);"
)
connection.kalam("CREATE NAMESPACE IF NOT EXISTS app")
print(connection.target, connection.kalam("SELECT CURRENT_USER() AS u")[0].table.to_pylist())
"""


async def test_a_kernel_reaches_the_server_it_came_from(jp_serverapp, jp_fetch, jp_ws_fetch, extension):
    await extension._start_jupyter_server_extension(jp_serverapp)
    created = await jp_fetch("api", "kernels", method="POST", body=json.dumps({"name": "python3"}))
    kernel = json.loads(created.body)["id"]
    socket = await jp_ws_fetch("api", "kernels", kernel, "channels")
    header = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3"}
    content = {"code": CODE, "silent": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await socket.write_message(json.dumps(message))
    output = ""
    while True:
        answer = json.loads(await socket.read_message())
        if answer.get("parent_header", {}).get("msg_id") != "1":
            continue
        if answer["msg_type"] == "stream":
            output += answer["content"]["text"]
        if answer["msg_type"] == "execute_reply":
            assert answer["content"]["status"] == "ok", answer["content"]
        if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            break
    socket.close()
    await jp_fetch("api", "kernels", kernel, method="DELETE")
    assert output.split()[0].endswith("/a%40b")
    assert "'u': 'root'" in output
    streams = await jp_fetch("ksql", method="POST", body=json.dumps({"ksql": "LIST STREAMS;"}))
    assert "FROM_KERNEL" in streams.body.decode()
