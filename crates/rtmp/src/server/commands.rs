//! What the server answers to each command.

use headwater_amf0::{Object, Value};
use headwater_media::Instant;

use super::request::{ConnectRequest, PublishRequest, RequestId};
use super::{Event, ServerSession, State, error_info, status_info};
use crate::command::Command;
use crate::name::Target;
use crate::{ChunkStreamId, Error, Message, StatusCode, status};

impl ServerSession {
    pub(super) fn handle_command(&mut self, now: Instant, message: Message) -> Result<(), Error> {
        let Some(command) = Command::read(&message, self.config.limits.amf0)? else {
            self.link.statistics.skipped += 1;
            return Ok(());
        };
        match command.name.as_str() {
            "connect" => self.handle_connect(&command),
            "createStream" => self.create_stream(&command),
            "publish" => self.handle_publish(now, &command, message.stream_id)?,
            "FCPublish" => {
                self.flash_publisher = true;
                self.send_result(&command, Value::Null, Value::Undefined);
            }
            "releaseStream" => self.send_result(&command, Value::Null, Value::Undefined),
            "FCUnpublish" => {
                self.send_result(&command, Value::Null, Value::Undefined);
                self.unpublish(now);
            }
            // The argument is a number from FFmpeg and librtmp, the stream's name from GStreamer 1.22. A
            // connection publishes one stream, so it does not matter.
            "deleteStream" | "closeStream" => self.unpublish(now),
            "_checkbw" => self.send_result(&command, Value::Null, Value::Null),
            "getStreamLength" => self.send_result(&command, Value::Null, 0u32.into()),
            "play" | "play2" | "seek" | "pause" | "receiveAudio" | "receiveVideo" => {
                let info = Object::default()
                    .with("level", "error")
                    .with("code", status::PLAY_STREAM_NOT_FOUND)
                    .with("description", "This server takes streams over RTMP and does not play them.");
                self.send_status(message.stream_id, info);
            }
            "_result" | "_error" | "onStatus" => {}
            _ => {
                self.link.statistics.unknown_commands += 1;
                self.send_result(&command, Value::Null, Value::Null);
            }
        }
        Ok(())
    }

    /// A second `connect` is answered like an unknown command.
    fn handle_connect(&mut self, command: &Command) {
        match &mut self.state {
            State::Connecting { request, .. } => {
                let connect = ConnectRequest::new(command.object.as_object().cloned().unwrap_or_default());
                *request = Some((command.transaction, connect.clone()));
                self.events.push_back(Event::ConnectRequest(connect));
            }
            _ => self.send_result(command, Value::Null, Value::Null),
        }
    }

    /// The id wraps after four billion, which costs nothing: it is only a name.
    fn create_stream(&mut self, command: &Command) {
        self.streams = self.streams.checked_add(1).unwrap_or(1);
        self.send_result(command, Value::Null, self.streams.into());
    }

    fn handle_publish(&mut self, now: Instant, command: &Command, stream_id: u32) -> Result<(), Error> {
        match &self.state {
            State::Connected { connect, .. } => {
                // 0 stands for the only stream there is.
                let stream_id = if stream_id == 0 { self.streams } else { stream_id };
                if stream_id == 0 || stream_id > self.streams {
                    let description = "publish names a message stream that createStream has not made";
                    self.close_with_status(now, StatusCode::PublishRejected, description);
                    return Ok(());
                }
                let connect = connect.clone();
                let Target { app, name, parameters } = connect.target(command.text(0).unwrap_or_default());
                let id = RequestId(stream_id);
                self.state = State::Requested { request: id, stream_id };
                self.events.push_back(Event::PublishRequest(PublishRequest { id, app, name, parameters, connect }));
            }
            State::Publishing { .. } | State::Ended { .. } => {
                // The first publish ends with the connection.
                self.end_publish(State::Closed, false);
                let description = "a connection publishes one stream, and this one has published already";
                self.send_status(stream_id, error_info(StatusCode::PublishBadName, description));
                self.state = State::Closing { at: now + self.config.timeouts.close };
            }
            _ => return Err(Error::NotConnected { command: "publish" }),
        }
        Ok(())
    }

    fn unpublish(&mut self, now: Instant) {
        if let State::Publishing { stream_id, .. } = self.state {
            self.send_status(stream_id, status_info(status::UNPUBLISH_SUCCESS, "The stream is no longer published."));
        }
        self.end_publish(State::Ended { until: now + self.config.timeouts.publish }, true);
    }

    /// `_result` with two values, unless no answer is wanted.
    fn send_result(&mut self, command: &Command, object: Value, value: Value) {
        if command.transaction != 0.0 {
            let result = Command::new("_result", command.transaction, object, vec![value]);
            self.link.send_command(ChunkStreamId::COMMAND, 0, &result);
        }
    }
}
