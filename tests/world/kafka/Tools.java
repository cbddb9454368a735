import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.state.Stores;

/**
 * What Kafka's own Java clients do for the tests: the admin client as the second opinion on every number, changes that librdkafka
 * can't ask for, and groups of kinds that librdkafka can't make.
 *
 * One JVM for all tests of a binary. It prints the port on 127.0.0.1 that it listens on; each line that comes in is a request as
 * JSON, each line that goes out its answer: {"ok": VALUE} or {"error": TEXT}. It ends with the process that started it.
 */
public final class Tools {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** The bound of every single call. */
    private static final int TIMEOUT_MS = 30_000;
    /** Groups whose commits are under way at once. */
    private static final int WINDOW = 200;

    /** One admin client per cluster and user; each reconnects by itself. */
    private static final Map<String, Admin> ADMINS = new ConcurrentHashMap<>();
    /** What runs until it is stopped, by the name of its group. */
    private static final Map<String, AutoCloseable> RUNNING = new ConcurrentHashMap<>();

    /** Serves requests, or with "streams" and a request runs that instance of an application until it is told to end. */
    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 2 && arguments[0].equals("streams")) {
            JsonNode request = JSON.readTree(arguments[1]);
            startStreams(request);
            String instance = request.get("group").asText() + request.get("instance").asText();
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                try {
                    stop(instance);
                } catch (Exception error) {
                    System.err.println(error);
                }
            }));
            Thread.currentThread().join();
        }
        try (ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
            System.out.println(server.getLocalPort());
            while (true) {
                Socket socket = server.accept();
                Thread thread = new Thread(() -> serve(socket));
                thread.setDaemon(true);
                thread.start();
            }
        }
    }

    private static void serve(Socket socket) {
        try (socket;
                BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
                BufferedWriter out = new BufferedWriter(new OutputStreamWriter(socket.getOutputStream(), StandardCharsets.UTF_8))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                ObjectNode answer = JSON.createObjectNode();
                try {
                    answer.set("ok", answer(JSON.readTree(line)));
                } catch (ExecutionException error) {
                    answer.put("error", String.valueOf(error.getCause()));
                } catch (Exception error) {
                    answer.put("error", String.valueOf(error));
                }
                out.write(JSON.writeValueAsString(answer));
                out.write('\n');
                out.flush();
            }
        } catch (IOException gone) {
            // The test has ended.
        }
    }

    private static JsonNode answer(JsonNode request) throws Exception {
        return switch (request.get("command").asText()) {
            case "commit" -> commit(admin(request), request.get("commits"));
            case "observe" -> observe(admin(request), request.get("group").asText(), strings(request.get("topics")));
            case "groups" -> groups(admin(request));
            case "create-topic" -> createTopic(admin(request), request);
            case "leaders" -> leaders(admin(request), request.get("topic").asText());
            case "coordinators" -> coordinators(admin(request), strings(request.get("groups")));
            case "move" -> move(admin(request), request);
            case "elect" -> elect(admin(request));
            case "add-acl" -> addAcl(admin(request), request);
            case "remove-acls" -> removeAcls(admin(request), request.get("principal").asText());
            case "set-scram" -> setScram(admin(request), request);
            case "token" -> token(request.get("subject").asText(), request.get("seconds").asLong());
            case "set-config" -> setConfig(admin(request), request);
            case "start-streams" -> startStreams(request);
            case "start-share" -> startShare(request);
            case "stop" -> stop(request.get("group").asText());
            default -> throw new IllegalArgumentException("no such command: " + request);
        };
    }

    // --- Clients -------------------------------------------------------------------------------------------------------

    private static Admin admin(JsonNode request) {
        return ADMINS.computeIfAbsent(request.get("cluster").toString(), key -> Admin.create(properties(request)));
    }

    /** "cluster" holds the client's properties, bootstrap.servers among them. */
    private static Properties properties(JsonNode request) {
        Properties properties = new Properties();
        properties.put("default.api.timeout.ms", TIMEOUT_MS);
        properties.put("request.timeout.ms", 10_000);
        properties.put("enable.metrics.push", "false");
        request.get("cluster").fields().forEachRemaining(field -> properties.put(field.getKey(), field.getValue().asText()));
        return properties;
    }

    private static List<String> strings(JsonNode array) {
        List<String> strings = new ArrayList<>();
        array.forEach(text -> strings.add(text.asText()));
        return strings;
    }

    // --- Commits -------------------------------------------------------------------------------------------------------

    /** "commits" is an array of [group, topic, [offset of partition 0, of 1, …]]; a negative offset commits nothing. */
    private static JsonNode commit(Admin admin, JsonNode commits) throws Exception {
        ArrayDeque<KafkaFuture<Void>> underWay = new ArrayDeque<>();
        for (JsonNode commit : commits) {
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (int partition = 0; partition < commit.get(2).size(); partition++) {
                long offset = commit.get(2).get(partition).asLong();
                if (offset >= 0) {
                    offsets.put(new TopicPartition(commit.get(1).asText(), partition), new OffsetAndMetadata(offset));
                }
            }
            underWay.add(admin.alterConsumerGroupOffsets(commit.get(0).asText(), offsets).all());
            while (underWay.size() >= WINDOW) {
                underWay.remove().get();
            }
        }
        for (KafkaFuture<Void> future : underWay) {
            future.get();
        }
        return JSON.createObjectNode();
    }

    // --- The second opinion --------------------------------------------------------------------------------------------

    /** All numbers of a group: its commits, its description, and the offsets of the topics named or committed to. */
    private static JsonNode observe(Admin admin, String group, List<String> named) throws Exception {
        ObjectNode seen = JSON.createObjectNode();
        Map<TopicPartition, OffsetAndMetadata> commits = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        ObjectNode committed = seen.putObject("commits");
        Set<String> topics = new HashSet<>(named);
        commits.forEach((partition, offset) -> {
            if (offset != null) {
                topics.add(partition.topic());
                committed.withObject("/" + partition.topic()).put(String.valueOf(partition.partition()), offset.offset());
            }
        });
        ObjectNode found = seen.putObject("topics");
        for (String topic : topics) {
            topic(admin, topic, found.putObject(topic));
        }
        describe(admin, group, seen.putObject("group"));
        return seen;
    }

    private static void topic(Admin admin, String name, ObjectNode into) throws Exception {
        TopicDescription description = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        into.put("id", description.topicId().toString());
        Map<TopicPartition, Long> start = offsets(admin, description, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED);
        Map<TopicPartition, Long> end = offsets(admin, description, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED);
        Map<TopicPartition, Long> stable = offsets(admin, description, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED);
        ArrayNode partitions = into.putArray("partitions");
        for (TopicPartitionInfo info : description.partitions()) {
            TopicPartition partition = new TopicPartition(name, info.partition());
            partitions.addObject()
                    .put("start", start.get(partition))
                    .put("end", end.get(partition))
                    .put("stable", stable.get(partition));
        }
    }

    private static Map<TopicPartition, Long> offsets(Admin admin, TopicDescription topic, OffsetSpec spec, IsolationLevel isolation)
            throws Exception {
        Map<TopicPartition, OffsetSpec> wanted = new HashMap<>();
        topic.partitions().forEach(info -> wanted.put(new TopicPartition(topic.name(), info.partition()), spec));
        Map<TopicPartition, Long> found = new HashMap<>();
        admin.listOffsets(wanted, new ListOffsetsOptions(isolation)).all().get()
                .forEach((partition, result) -> found.put(partition, result.offset()));
        return found;
    }

    /** Members with their assignments; a group that nobody knows has the state Dead, as in Kafka's own tool. */
    private static void describe(Admin admin, String group, ObjectNode into) throws Exception {
        ConsumerGroupDescription description;
        try {
            description = admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof org.apache.kafka.common.errors.GroupIdNotFoundException) {
                into.put("state", GroupState.DEAD.toString()).putArray("members");
                return;
            }
            throw error;
        }
        into.put("state", description.groupState().toString());
        into.put("type", description.type().toString());
        into.put("assignor", description.partitionAssignor());
        ArrayNode members = into.putArray("members");
        for (MemberDescription member : description.members()) {
            ObjectNode one = members.addObject();
            one.put("id", member.consumerId()).put("client", member.clientId()).put("host", member.host());
            ArrayNode assigned = one.putArray("assigned");
            member.assignment().topicPartitions().forEach(partition ->
                    assigned.addArray().add(partition.topic()).add(partition.partition()));
        }
    }

    private static JsonNode groups(Admin admin) throws Exception {
        ObjectNode groups = JSON.createObjectNode();
        for (GroupListing listing : admin.listGroups().all().get()) {
            groups.putObject(listing.groupId())
                    .put("type", listing.type().map(GroupType::toString).orElse(null))
                    .put("protocol", listing.protocol())
                    .put("state", listing.groupState().map(GroupState::toString).orElse(null));
        }
        return groups;
    }

    // --- Topics, leaders and coordinators ------------------------------------------------------------------------------

    /** With "assignments", an array of arrays of brokers: the first of each leads. */
    private static JsonNode createTopic(Admin admin, JsonNode request) throws Exception {
        String name = request.get("topic").asText();
        Map<Integer, List<Integer>> assignments = new HashMap<>();
        request.get("assignments").forEach(brokers -> assignments.put(assignments.size(), brokers(brokers)));
        admin.createTopics(List.of(new NewTopic(name, assignments))).all().get();
        return JSON.createObjectNode();
    }

    private static List<Integer> brokers(JsonNode array) {
        List<Integer> brokers = new ArrayList<>();
        array.forEach(broker -> brokers.add(broker.asInt()));
        return brokers;
    }

    /** The leader of each partition; -1 where there is none. */
    private static JsonNode leaders(Admin admin, String topic) throws Exception {
        ArrayNode leaders = JSON.createArrayNode();
        admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions()
                .forEach(info -> leaders.add(info.leader() == null ? -1 : info.leader().id()));
        return leaders;
    }

    /** The broker that coordinates each group. */
    private static JsonNode coordinators(Admin admin, List<String> groups) throws Exception {
        ObjectNode coordinators = JSON.createObjectNode();
        admin.describeConsumerGroups(groups).all().get()
                .forEach((group, description) -> coordinators.put(group, description.coordinator().id()));
        return coordinators;
    }

    /** Puts a partition onto other brokers, the first of which becomes its leader. */
    private static JsonNode move(Admin admin, JsonNode request) throws Exception {
        TopicPartition partition = new TopicPartition(request.get("topic").asText(), request.get("partition").asInt());
        NewPartitionReassignment onto = new NewPartitionReassignment(brokers(request.get("brokers")));
        admin.alterPartitionReassignments(Map.of(partition, Optional.of(onto))).all().get();
        while (!admin.listPartitionReassignments(Set.of(partition)).reassignments().get().isEmpty()) {
            Thread.sleep(50);
        }
        return elect(admin);
    }

    /** Gives every partition back to its preferred leader. */
    private static JsonNode elect(Admin admin) throws Exception {
        Map<TopicPartition, Optional<Throwable>> elected = admin.electLeaders(ElectionType.PREFERRED, null).partitions().get();
        for (Map.Entry<TopicPartition, Optional<Throwable>> entry : elected.entrySet()) {
            if (entry.getValue().filter(error -> !(error instanceof ElectionNotNeededException)).isPresent()) {
                throw new IllegalStateException(entry.getKey() + ": " + entry.getValue().get());
            }
        }
        return JSON.createObjectNode();
    }

    // --- Users and their rights ----------------------------------------------------------------------------------------

    private static JsonNode addAcl(Admin admin, JsonNode request) throws Exception {
        ResourcePattern resource = new ResourcePattern(
                ResourceType.fromString(request.get("resource").asText()), request.get("name").asText(), PatternType.LITERAL);
        AclOperation operation = AclOperation.fromString(request.get("operation").asText());
        AccessControlEntry entry =
                new AccessControlEntry(request.get("principal").asText(), "*", operation, AclPermissionType.ALLOW);
        admin.createAcls(List.of(new AclBinding(resource, entry))).all().get();
        return JSON.createObjectNode();
    }

    private static JsonNode removeAcls(Admin admin, String principal) throws Exception {
        AccessControlEntryFilter entry =
                new AccessControlEntryFilter(principal, null, AclOperation.ANY, AclPermissionType.ANY);
        AclBindingFilter filter =
                new AclBindingFilter(org.apache.kafka.common.resource.ResourcePatternFilter.ANY, entry);
        Collection<AclBinding> removed = admin.deleteAcls(List.of(filter)).all().get();
        return JSON.createObjectNode().put("removed", removed.size());
    }

    /** Without "password" the user is removed. */
    private static JsonNode setScram(Admin admin, JsonNode request) throws Exception {
        String user = request.get("user").asText();
        ScramMechanism mechanism = ScramMechanism.fromMechanismName(request.get("mechanism").asText());
        UserScramCredentialAlteration change = request.hasNonNull("password")
                ? new UserScramCredentialUpsertion(
                        user, new ScramCredentialInfo(mechanism, 4096), request.get("password").asText())
                : new UserScramCredentialDeletion(user, mechanism);
        admin.alterUserScramCredentials(List.of(change)).all().get();
        return JSON.createObjectNode();
    }

    /** An unsigned JSON Web Token, valid for so many seconds from now: negative for one that has expired. */
    private static JsonNode token(String subject, long seconds) throws Exception {
        long now = System.currentTimeMillis() / 1000;
        ObjectNode claims = JSON.createObjectNode().put("sub", subject).put("iat", now - 600).put("exp", now + seconds);
        Base64.Encoder base64 = Base64.getUrlEncoder().withoutPadding();
        String header = base64.encodeToString("{\"alg\":\"none\"}".getBytes(StandardCharsets.UTF_8));
        return JSON.valueToTree(header + "." + base64.encodeToString(JSON.writeValueAsBytes(claims)) + ".");
    }

    /** Sets one entry of a topic's or a broker's configuration. */
    private static JsonNode setConfig(Admin admin, JsonNode request) throws Exception {
        ConfigResource.Type type = ConfigResource.Type.valueOf(request.get("resource").asText().toUpperCase());
        ConfigResource resource = new ConfigResource(type, request.get("name").asText());
        ConfigEntry entry = new ConfigEntry(request.get("key").asText(), request.get("value").asText());
        AlterConfigOp change = new AlterConfigOp(entry, AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
        return JSON.createObjectNode();
    }

    // --- Groups of kinds that librdkafka can't make --------------------------------------------------------------------

    /**
     * Counts the records of "topics" by their values: two sub-topologies with a repartition topic between them, which has
     * "repartition" partitions, or as many as the largest of the topics. "protocol" is classic or streams (KIP-1071); an
     * application may have several instances. Each record takes "pauseMicros". With "persistent" the counts are in the
     * folder of the pod, in "directory". Unless "leave" is false, the members leave the group as they close.
     */
    private static JsonNode startStreams(JsonNode request) {
        StreamsBuilder builder = new StreamsBuilder();
        long pauseMicros = request.path("pauseMicros").asLong();
        boolean isPersistent = request.path("persistent").asBoolean();
        boolean leaves = request.path("leave").asBoolean(true);
        String pod = System.getenv().getOrDefault("HOSTNAME", "");
        String directory = request.get("directory").asText() + (isPersistent ? "/" + pod : "");
        Repartitioned<byte[], byte[]> repartitioned = Repartitioned.as("by-value");
        if (request.hasNonNull("repartition")) {
            repartitioned = repartitioned.withNumberOfPartitions(request.get("repartition").asInt());
        }
        builder.<byte[], byte[]>stream(strings(request.get("topics")))
                .selectKey((key, value) -> {
                    LockSupport.parkNanos(1_000 * pauseMicros);
                    return value;
                })
                .repartition(repartitioned)
                .groupByKey()
                .count(Materialized.as(isPersistent
                        ? Stores.persistentKeyValueStore("counts")
                        : Stores.inMemoryKeyValueStore("counts")));
        String application = request.get("group").asText();
        Properties properties = properties(request);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        properties.put(StreamsConfig.GROUP_PROTOCOL_CONFIG, request.get("protocol").asText());
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, request.get("threads").asInt());
        properties.put(StreamsConfig.STATE_DIR_CONFIG, directory);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
        properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        KafkaStreams streams = new KafkaStreams(builder.build(), properties);
        streams.start();
        RUNNING.put(application + request.get("instance").asText(), () -> streams.close(
                new KafkaStreams.CloseOptions().leaveGroup(leaves).timeout(Duration.ofMillis(TIMEOUT_MS))));
        return JSON.createObjectNode();
    }

    /** A member of a share group that accepts all that it is given. */
    private static JsonNode startShare(JsonNode request) {
        String group = request.get("group").asText();
        Properties properties = properties(request);
        properties.put("group.id", group);
        KafkaShareConsumer<byte[], byte[]> consumer =
                new KafkaShareConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        AtomicBoolean stop = new AtomicBoolean();
        Thread thread = new Thread(() -> {
            try (consumer) {
                consumer.subscribe(List.of(request.get("topic").asText()));
                while (!stop.get()) {
                    consumer.poll(Duration.ofMillis(100));
                }
            }
        });
        thread.setDaemon(true);
        thread.start();
        RUNNING.put(group, () -> {
            stop.set(true);
            thread.join(TIMEOUT_MS);
        });
        return JSON.createObjectNode();
    }

    private static JsonNode stop(String group) throws Exception {
        AutoCloseable running = RUNNING.remove(group);
        if (running != null) {
            running.close();
        }
        return JSON.createObjectNode();
    }
}
